"""What a run has shown: pure functions from answers, selections and the domain to figures."""
