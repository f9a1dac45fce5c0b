"""What clients of the WebSocket say and want: pure."""
