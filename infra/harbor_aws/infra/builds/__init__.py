"""Images built by CodeBuild: started once, followed to the end, and a failure told with its log.

``build`` is pure; ``builder`` is the door to CodeBuild, ``logs`` the one to what its builds print; ``follow`` waits for
builds, ``many`` for more of them than the account may have at once, and ``failure`` says why one came to nothing.
"""
