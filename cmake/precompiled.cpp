// Has only the precompiled header that parts of the product share.
