"""What tests on a real API server share: the operator as a process, a node moved by hand, and waiting for a fact."""
