"""A stack in an AWS account: made, changed and removed by CloudFormation.

``template.yaml`` is the stack. ``parameters``, ``prices``, ``steps``, ``events`` and ``advice`` are pure; ``stacks`` is
the door to CloudFormation, ``zones`` the one to EC2, ``leftovers`` the one to what use leaves behind; ``worker_image``
has the workers' image built; ``provision`` and ``teardown`` put them together. What is inside of the cluster is not
CloudFormation's: ``manifests`` says what that is (pure), ``apply`` and ``removal`` make and remove it,
``cluster_objects`` is where that comes in. KEDA scales the workers: ``keda_manifest`` says of what it consists (pure),
``keda_source`` gets that, ``keda`` brings it and removes it.
"""
