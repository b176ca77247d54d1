"""What the workers' image is built from. It builds nothing, and talks to nobody.

``docker/`` of the repository holds the Dockerfile and the pinned requirements; a wheel has them in this package.
"""
