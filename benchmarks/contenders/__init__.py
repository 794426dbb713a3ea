"""One file for each contender; each runs in a process of its own, in the environment it asks for.

A contender is a class `Contender(folder)` that has loaded the model of that folder, with the works
it can do as methods: `read(Reading) -> [n, layers, width]`, `steer(Steering) -> answers`,
`probe(Probing) -> Probed`. The time of a call is what is measured.
"""
