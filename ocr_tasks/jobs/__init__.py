"""The job store: Postgres is the only truth, and every change of a job's state is one function in this package.

`submitting` creates and cancels, `inspecting` and `ranges` turn a source into pages, `reading` takes a page through an
engine, `finishing` ends the job, `publishing` knows what direct callers are to be told, `sweeping` finds what a crash
left, `retention` what is over, `views` is what callers may see.
"""
