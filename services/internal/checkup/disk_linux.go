package checkup

import "golang.org/x/sys/unix"

// fileSystem says why what is written in a directory may not last; empty when
// nothing speaks against it.
func fileSystem(dir string) string {
	var stat unix.Statfs_t
	if unix.Statfs(dir, &stat) != nil {
		return ""
	}
	switch uint32(stat.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return "but that is a file system in memory, gone with the next start of the machine"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "but that is a container's own layer, gone with the container"
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "but that is a network file system, on which SQLite's locks are not safe"
	}
	return ""
}
