// Package clients walks over runs of the fleet and asks, after every access to
// a host, what the clients of its services would meet. Pairs of sites are made
// at random from a seed; machines in memory are converged to the first by the
// real engine, and then to the second while something goes wrong. What a client
// meets is worked out from the kernels' state alone, by code that knows nothing
// of plans. It is all tests; this file names the package.
package clients
