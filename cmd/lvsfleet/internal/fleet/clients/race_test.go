//go:build race

package clients

// raceDetector says whether the race detector is on: the walk is shorter then.
const raceDetector = true
