"""How many responses one input supports depends on how long its symbols are repeated."""

from esntools import SwitchingInput, dwell_time_table, estimate_echo_index, load_model
from esntools.plotting import plot_echo_index

model = load_model("switching-2neuron")
network, symbols = model.network(), model.symbols()

# A keeps two states apart, B erases one of them: the table tells how long A must hold between erasures.
table = dwell_time_table(network, symbols)
print(f"no length of A makes up for {table.longest + 1} times B")
least = table.shortest[14 - 1]

for hold in (least - 1, least):
    index = estimate_echo_index(network, SwitchingInput(symbols, min_length=[hold, 1], max_length=[20, 14]))
    print(f"A for at least {hold} steps, B for at most 14: {index.sentence}")

plot_echo_index(index).figure.savefig("echo_index.svg")
