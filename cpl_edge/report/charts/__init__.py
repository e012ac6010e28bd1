"""Charts as inline SVG: coloured by the page's style sheet, described in words."""
