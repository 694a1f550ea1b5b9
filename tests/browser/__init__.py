"""The page in a real browser: what AppTest cannot see, such as themes, widths, clipboard and network."""
