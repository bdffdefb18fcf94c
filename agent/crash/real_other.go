//go:build !linux

package main

import "errors"

func noNamespaces() string { return "this system has no namespaces" }

func inNamespaces(realCase) (*realModel, error) { return nil, errors.New(noNamespaces()) }

func namespaced([]string) bool { return false }
