"""How fast and how lean SeeWhy is, side by side with what one would use instead. See docs/performance.md."""
