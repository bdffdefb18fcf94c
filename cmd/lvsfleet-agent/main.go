// Command lvsfleet-agent runs lvsfleet's engine on the host that it manages.
package main

func main() {}
