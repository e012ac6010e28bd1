"""One page that shows what was measured, as HTML and as Markdown."""
