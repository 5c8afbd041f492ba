"""The story of one event by its messageId: found in the streams through an index, told by `cdpd trace`."""
