"""Writing captions: who writes them, what is cut from them, and how a thousand of them survive a kill."""
