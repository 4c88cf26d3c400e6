"""Records of ECS in the shapes in which AWS answers them. One module per resource."""
