"""Where the cluster meets the files: what operations set going, and what happens without a request.

Knows store/ and slurm_shim/, which do not know each other, and no HTTP. The thinking is pure and lives in store/: rules
give the next steps and the changed document. Here the steps are taken, one after the other for each document, so that
`kill -9` at any point costs nothing: the next turn goes on from what the documents say.
"""
