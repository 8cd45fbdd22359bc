"""What an extension implements, and how it is found."""
