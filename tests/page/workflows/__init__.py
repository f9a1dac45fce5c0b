"""The page: workflows, the editor, the dialog of a run."""
