"""The immutable records that flow from room to room."""
