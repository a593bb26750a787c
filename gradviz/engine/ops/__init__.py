"""The rules: each op is one entry, made by `primitive`, in the file of its kind."""
