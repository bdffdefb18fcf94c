package picture

import "fmt"

// Clean is how every text is made fit.
func Clean(s string) string { return clean(s) }

// Fits says whether everything lies inside the picture and its box, and apart.
func (p *Picture) Fits(o Options) error {
	d := p.layout(o)
	for i, b := range d.Boxes {
		if b.X < 0 || b.Y < 0 || b.X+b.W > d.Width || b.Y+b.H > d.Height {
			return fmt.Errorf("box %s (%d,%d %dx%d) leaves the picture, %dx%d", b.Title, b.X, b.Y, b.W, b.H, d.Width, d.Height)
		}
		for _, c := range d.Boxes[:i] {
			if b.X < c.X+c.W && c.X < b.X+b.W && b.Y < c.Y+c.H && c.Y < b.Y+b.H {
				return fmt.Errorf("boxes %s and %s overlap", b.Title, c.Title)
			}
		}
		for j, c := range b.Cells {
			if c.X < 0 || c.Y < headHeight || c.X+c.W > b.W || c.Y+c.H > b.H {
				return fmt.Errorf("cell %s (%d,%d %dx%d) leaves its box, %dx%d", c.Title, c.X, c.Y, c.W, c.H, b.W, b.H)
			}
			for _, e := range b.Cells[:j] {
				if c.X < e.X+e.W && e.X < c.X+c.W && c.Y < e.Y+e.H && e.Y < c.Y+c.H {
					return fmt.Errorf("cells %s and %s overlap", c.Title, e.Title)
				}
			}
		}
	}
	for _, k := range d.Legend {
		if k.Y+legendRow > d.Height+margin {
			return fmt.Errorf("legend %s leaves the picture", k.Text)
		}
	}
	return nil
}
