"""Pages for people who do not write Python: `seewhy chat` and others, and `seewhy serve` for programs.

`shell.py` is what they share, and the one place that imports Gradio; `door.py` says who may come in, `guard.py` keeps
the others out, `uploads.py` opens what is sent. Each page is a file of its own.
"""
