"""The AWS services. One folder each; a leaf service is used by calling its functions inside one's own transaction."""
