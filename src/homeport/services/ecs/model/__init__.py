"""Records of ECS: clusters, task definitions, tasks, container instances. One module per resource."""
