"""What people configure: layers, profiles with their mounts, projects."""
