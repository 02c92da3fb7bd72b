-- Other servers and programs behind a table. DBNAME, PORT, PASSWORD and @OUT@ are put in.
CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port 'PORT', dbname 'DBNAME');
CREATE USER MAPPING FOR postgres SERVER loop OPTIONS (user 'postgres', password 'PASSWORD');
CREATE FOREIGN TABLE public.ft_accounts (id int, owner text, balance numeric) SERVER loop OPTIONS (schema_name 'public', table_name 'accounts');
CREATE FOREIGN TABLE public.ft_evil (x int) SERVER loop OPTIONS (schema_name 'public', table_name 'v_evil');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE public.ft_file (line text) SERVER files OPTIONS (filename '/etc/hostname');
CREATE FOREIGN TABLE public.ft_prog (line text) SERVER files OPTIONS (program 'touch @OUT@/program_ran; echo done');
CREATE VIEW public.v_foreign AS SELECT line FROM public.ft_prog;
CREATE TABLE public.parent_of_program (line text);
CREATE FOREIGN TABLE public.child_of_program () INHERITS (public.parent_of_program)
  SERVER files OPTIONS (program 'touch @OUT@/child_ran; echo done');
