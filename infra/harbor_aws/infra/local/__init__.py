"""The local stack: everything on one Linux machine, without an AWS account."""
