// Command lvsfleet makes a fleet of Linux Virtual Server hosts what one
// inventory says.
package main

func main() {}
