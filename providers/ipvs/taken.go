package ipvs

// A Taken is a service that lvsfleet made, or took over: what there was of it
// before, in the live table and in the rules for the next boot; nil: nothing.
type Taken struct {
	Key        Key
	Live, Boot *Service
}
