"""Where the cluster meets the files: work for requests and between them.

Knows store/ and slurm_shim/, which do not know each other, and no HTTP. The rules are pure and live in store/: they
give the changed document and the next steps. Here the steps are taken, one after the other for each document, so that
`kill -9` at any point costs nothing: the next pass goes on from what the documents say.
"""
