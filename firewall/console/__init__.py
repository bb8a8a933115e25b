"""The firewall's pages: policies and their editor, the event feed with its panel and its live stream."""
