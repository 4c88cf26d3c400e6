"""The AWS protocols: HTTP, models, signatures, validation. Knows no service and no store."""
