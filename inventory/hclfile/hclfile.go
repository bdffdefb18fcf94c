// Package hclfile reads a site from HCL, and shows what is wrong with it as
// diagnostics that point at the line.
package hclfile
