"""What producer and worker both stand on.

Settings, the stack's outputs, the doors to SQS, S3, ECR, CodeBuild and Kubernetes, Fargate's sizes, the local stack.
Nothing here knows of Harbor's trials or of Celery, and nothing here imports ``producer`` or ``worker``.
"""
