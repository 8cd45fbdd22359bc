"""Parts of ``build_embedded.py``: each file is one step of the build."""
