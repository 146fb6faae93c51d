"""File tasks: what is asked, how it is graded, who writes them."""
