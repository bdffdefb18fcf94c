// Command crash tries what becomes of a host when something dies.
package main

func main() {}
