"""Marks for students' notebooks: their code runs in a sandbox (`worker`), what it gave is judged outside (`marks`)."""
