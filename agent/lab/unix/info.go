package unix

import (
	"io/fs"
	"time"
)

// Info is a file of a simulated machine as an fs.FileInfo; pkg/sftp finds its
// owner through Uid and Gid.
type Info struct {
	Base     string
	Bits     fs.FileMode
	Bytes    int64
	UID, GID int
}

// Name is the base name.
func (i Info) Name() string { return i.Base }

// Size is in bytes.
func (i Info) Size() int64 { return i.Bytes }

// Mode is type and permission.
func (i Info) Mode() fs.FileMode { return i.Bits }

// ModTime is the same for every file: a simulated machine keeps no times.
func (i Info) ModTime() time.Time { return time.Unix(1136214245, 0).UTC() }

// IsDir says whether it is a folder.
func (i Info) IsDir() bool { return i.Bits.IsDir() }

// Sys is nothing.
func (i Info) Sys() any { return nil }

// Uid is the owner.
func (i Info) Uid() uint32 { return uint32(i.UID) }

// Gid is the owner's group.
func (i Info) Gid() uint32 { return uint32(i.GID) }
