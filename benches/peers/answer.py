"""What every peer judges, word for word what benches/score.rs judges."""

RESPONSE = (
    "Natalia baked 48 rolls in the morning and half as many in the afternoon, so she baked 48/2 = "
    "<<48/2=24>>24 rolls in the afternoon.\nAltogether she baked 48+24 = <<48+24=72>>72 rolls.\nShe sells them in bags of "
    "6, which makes 72/6 = <<72/6=12>>12 bags.\nEach bag costs $4, so she earns 12*4 = $<<12*4=48>>48.\nFlour and "
    "butter cost her $11, so that 48-11 = $<<48-11=37>>37 remain.\n#### 37"
)
REFERENCE = "37"
BATCH = 256
"""Samples of one batch."""

TIMEOUT_S = 5.0
"""Seconds one sample may take: the default of the plugin runtime."""

HANG = "hang"
"""A reference that keeps the judge busy for ever, to see who survives it."""
