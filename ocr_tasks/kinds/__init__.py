"""The kinds of jobs: where each takes its pages from, its options, and which engine it goes to."""
