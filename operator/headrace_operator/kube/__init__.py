"""The seam to the API: the Cluster protocol that the operator writes through, and its real client."""
