"""The web app: `dgafvsr serve`."""
