"""Documents made of a city's contracts and flows: AsyncAPI for programs, a catalogue page for people."""
