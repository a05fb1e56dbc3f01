"""How generated images compare with real ones.

evidence       what is found of each image
judge          who finds it: `Judge(...).examine(pixels)`, beside the test split
mutual         what real and generated images say of each other
measured       rounded numbers, and the reason where one is not defined
definitions    the numbers that are made of it, each a function of the evidence, so that all can be bootstrapped alike
snapshots      few numbers of few images, while a training goes on
"""
