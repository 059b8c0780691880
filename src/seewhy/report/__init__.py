"""What a person looks at: the table on the terminal and the HTML page."""
